"""What an owner does to an index: collect garbage, rebuild the catalog, repair, prune the cache, back up, restore."""
