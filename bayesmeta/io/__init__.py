"""What comes in and goes out: numbers, data frames and TOML files of users; files that are written whole."""
