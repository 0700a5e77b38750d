"""The pages below /admin, as no owner's routes change them."""
