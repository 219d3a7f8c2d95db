"""The life of a peer. The way of the data, in the order in which to read it:

training      iteration after iteration: local update, then aggregation
iterations    one aggregation: for every axis of the grid key -> group -> exchange -> average -> next axis
placements    how rounds begin and peers meet: on a grid (`groups`), or by hash (`hashed_placement`, `announcements`)
groups        from group key to the members of a line, through the DHT
rounds        matchmaking and exchange on the wire: carries out what `protocol.iteration` decides
transfer      one exchange: parts in, sums, results out

Around it: `entrance` and `census` (founding and joining), `roster` (who belongs to the swarm; `gazette`: its news in
bytes), `prober`, `reunion` and `parts` (finding the lost and other parts of the swarm), `states`, `catchup` and
`download` (the agreed state for who is behind), `keeper`, `saving`, `store` and `resuming` (the same on disk),
`fetching` (a line's result for who is late),
`aggregator` and `switchboard` (where messages go), `assembly` and `peer` (the parts put together).
"""
