"""Load tests: many orders in this process or on the emulator, one hot product, and invoice numbers."""
