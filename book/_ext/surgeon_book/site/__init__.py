"""What the site is to the world: its address, its cards, its entrances, its search."""
