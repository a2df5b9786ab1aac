"""Language models small enough to train on a page, and a source of text about which everything is known."""
