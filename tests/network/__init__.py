"""Networks of treatments."""
