"""Trains the embedded model from nothing: autoencoder, text towers, transformer; each a resumable stage."""
