"""How results are presented: numbers, tables, pages in several formats, and remarks."""
