"""Pipeline folders and the Hub: what is fetched from there, what is published, and the card that goes with it."""
