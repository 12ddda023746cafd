"""One page of HTML about an analysis, to read, judge and repeat it; `bm.report` is the function in `report.report`."""
