"""How the site looks, and what it weighs."""
