"""What measures identity on toybox: where each toy is, what it looks like, and how alike two toys are."""
