"""The specification: one frozen record of what is to be fitted, and how user input becomes one."""
