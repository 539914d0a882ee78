"""Error rates and the reports made of them."""
