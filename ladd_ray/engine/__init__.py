"""Where networks live and train: on one device (``local``) or in ZeRO shards over many (``zero``)."""
