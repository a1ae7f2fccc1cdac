import Glibc

/// Where a test may let the process die. Only in debug builds; a release has none.
enum FaultPoints {
    /// Right after a commit of messages, before anything of it is delivered or answered, if the file that
    /// `REPLYX_FAULT_KILL_AFTER_COMMIT` names exists.
    static func afterCommit() {
        #if DEBUG
            guard let path = getenv("REPLYX_FAULT_KILL_AFTER_COMMIT"), access(path, F_OK) == 0 else { return }
            kill(getpid(), SIGKILL)
        #endif
    }
}
