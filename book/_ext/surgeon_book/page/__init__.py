"""What a page becomes on its way to the site."""
