"""Where traced lines come from: neurons (SWC) and streamlines (TRK, TCK, TRX)."""
