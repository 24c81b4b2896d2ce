"""Side-by-side measurements against other libraries, all in one run."""
