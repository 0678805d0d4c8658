"""How much memory a process of a test took at most.

What the system keeps for `getrusage` begins with the memory of the process that forked: for a
child of a large test run it is far too much. Linux tells the peak since the program was loaded.
"""

SCRIPT = """
def peak_bytes():
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return 0
    import sys
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def forget_peak():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # then the peak is that of all that came before, too
"""
"""Python that defines `peak_bytes` and `forget_peak`, to begin a measured process with."""
