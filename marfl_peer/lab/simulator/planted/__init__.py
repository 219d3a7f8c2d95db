"""Bugs that are planted in the product for one run, to show that the checkers find them."""
