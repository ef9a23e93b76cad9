"""Where a network looked: maps over the image and the sheets that show them."""
