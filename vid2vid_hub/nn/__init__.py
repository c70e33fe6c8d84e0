"""Networks, written for one device."""
