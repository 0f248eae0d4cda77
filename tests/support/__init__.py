"""What the tests share: packages made from nothing, servers on free ports, clients."""
