"""What one run writes to a folder or bucket: lock, journal, what is done, clean-up.

How a feature writes:

- into a volume that is there (names, a mesh, a member of `info`): make everything first, then
  ``with Transaction(dest) as change``: ``change.put``, ``change.delete``, ``change.change_info``
  (`ngcore.transaction.changes`). Several such commands at once wait for each other.
- a volume of its own: `Destination` (`ngcore.transaction.destination`) takes the place, knows what
  an earlier run has done, and writes `info` last. Other layers (annotations, skeletons) do so
  through `LayerFolder`, whose `store` leaves out what is written already.
- long work for a volume that is there: `MeshFolder` (`ngcore.transaction.mesh_folder`): a lock and
  a journal of its own, files that go straight to where they stay, and a `Transaction` at its end.
- work on other machines: what it shares with this one is `ngcore.transaction.shared_work`.
- a file: `check_output_file` before any work, then `write_output` (`output_file`).

All of it goes through `Store`: `create`, `put`, `put_durably`, `sync`, `entries`, `delete_folder`
and `lock` are what a bucket does its own way.
"""
