"""The bytes: TCP links with their handshake, the peer's identity, the LAN beacon, the DHT."""
