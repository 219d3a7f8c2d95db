"""The life of a peer. The way of the data, in the order in which to read it:

training      iteration after iteration: local update, then aggregation
iterations    one aggregation: for every axis of the grid key -> group -> exchange -> average -> next axis
groups        from group key to the members of a line, through the DHT
rounds        matchmaking and exchange on the wire: carries out what `protocol.iteration` decides
transfer      one exchange: parts in, sums, results out

Around it: `entrance` and `census` (founding and joining), `roster` (who belongs to the swarm; `gazette`: its news in
bytes), `prober`, `reunion` and `parts` (finding the lost, merging), `states` and `fetching` (catching up),
`aggregator` and `switchboard` (where messages go), `assembly` and `peer` (the parts put together).
"""
