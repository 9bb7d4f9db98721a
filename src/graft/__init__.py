"""graft: find the pretrained model, adapt it, prove that the transfer helped, ship it."""
