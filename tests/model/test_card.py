"""The card of a specification says what it is in at most 25 lines."""

import pytest

import bayesmeta as bm
from bayesmeta.model.card import MOST_LINES
from tests.support.awkward import awkward_spec


def test_the_card_of_bcg() -> None:
    spec = bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    lines = repr(spec).splitlines()
    assert lines[1:6] == [
        "Formula  logor ~ ablat; each row its own group",
        "Data     13 rows, all used; 13 observations",
        "Level    unit: 13 groups; unstr, Intercept",
        "S        variances from 0.00401 to 0.534; errors independent",
        f"Measure  logor, {bm.measures.MEASURES['logor'].label}",
    ]
    html = spec._repr_html_()
    assert "<td" in html
    assert "logor ~ ablat" in html


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize("name", ["bcg", "school", "smoking", "gliomas", "alcohol", "thrombolytic"])
def test_cards_of_model_files_are_short_and_say_levels_with_their_groups(name: str) -> None:
    for model in bm.load_analysis(name).models.values():
        text = repr(model.spec)
        assert len(text.splitlines()) <= MOST_LINES
        assert max(map(len, text.splitlines())) <= 100
        for level in model.spec.levels:
            assert f"{level.name}: {level.n_groups} group" in " ".join(text.split())


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_what_was_assumed_and_markup_in_names() -> None:
    spec = awkward_spec()
    assert str(len(spec.y)) in repr(spec)
    data = {"y": [0.1, 0.2, 0.4], "z": [0.3, 0.1, 0.2], "<b>": [1, 2, 3]}
    spec = bm.specify("y + z ~ `<b>`", data, S=[[0.1, 0.2]] * 3, psi="diag")
    assert "Assumed" in repr(spec)
    assert "&lt;b&gt;" in spec._repr_html_()
    assert "<b>" not in spec._repr_html_()


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_one_row_is_one_row() -> None:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg").head(1), S="logorvar")
    assert "1 row, all used; 1 observation\n" in repr(spec)
    assert "1 row, all used; 1 observation\n" in str(bm.summary(bm.fit(spec)))
