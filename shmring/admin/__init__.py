"""For those who look after a machine: what there is, what is left over, what is lacking."""
