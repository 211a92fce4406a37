"""The pipeline under load: many orders in process and on the emulator, and one hot product."""
