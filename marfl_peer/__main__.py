"""`python -m marfl_peer` is `marfl-peer`."""

from marfl_peer.cli.main import main

if __name__ == "__main__":
    main()
