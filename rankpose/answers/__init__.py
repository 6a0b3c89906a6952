"""What is told of somebody's pictures and films: rows of a table, and pictures with the poses drawn on them."""
