"""The Kademlia DHT of signed records: the only place that knows the kademlia package. `node` is its face."""
