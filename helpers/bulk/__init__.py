"""From one prompt to a million: ``python -m helpers.bulk captions.txt out/``.

Captions are read from a file one after another (``captions``), a shard of fixed size at a time goes
through the text encoder and onto the disk (``shards``), and which shards are there is all that has
to be known to go on after a stop (``__main__``). One process or eight make the same shards.
"""
