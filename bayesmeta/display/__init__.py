"""What people read of a result: numbers, tables, pages in several formats, and remarks."""
