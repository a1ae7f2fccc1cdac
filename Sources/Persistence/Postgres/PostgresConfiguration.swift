import CLibpq

/// Where the database is and how long it may take. Needs PostgreSQL 14 or newer.
package struct PostgresConfiguration: Sendable {
    /// A libpq URI or keyword string, with its password: never logged.
    package var url: String
    /// For connecting to one host. Resolving a host's name is libpq's and takes as long as the resolver does.
    package var connectTimeout: Duration
    /// What one call may take, whole pipelines included. The server's own time-out is a tenth shorter, so that it
    /// normally answers first and the connection survives.
    package var statementTimeout: Duration
    /// The longest wait for a lock; nil for half of the statement time-out.
    package var lockTimeout: Duration?
    /// After which the server ends a session that sits in a transaction.
    package var idleInTransactionTimeout: Duration
    package var applicationName: String

    package init(
        url: String,
        connectTimeout: Duration = .seconds(3),
        statementTimeout: Duration = .seconds(4),
        idleInTransactionTimeout: Duration = .seconds(10),
        applicationName: String = "replyx"
    ) {
        self.url = url
        self.connectTimeout = connectTimeout
        self.statementTimeout = statementTimeout
        self.idleInTransactionTimeout = idleInTransactionTimeout
        self.applicationName = applicationName
    }

    /// One set of connection parameters for each host of the URL, to be tried in order.
    func attempts() throws(PostgresError) -> [[(keyword: String, value: String)]] {
        var given: [String: String] = [:]
        for (keyword, value) in try parsed() { given[keyword] = value }
        given["application_name"] = applicationName
        given["client_encoding"] = "UTF8"
        given["options"] = [given["options"], sessionOptions].compactMap { $0 }.joined(separator: " ")
        // A peer that vanished without a word is noticed on idle connections too.
        for (keyword, value) in ["keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3"]
        where given[keyword] == nil {
            given[keyword] = value
        }
        return perHost(given)
    }

    /// libpq leaves time-outs to the caller when connecting without blocking, so each host is an attempt of its own.
    private func perHost(_ given: [String: String]) -> [[(keyword: String, value: String)]] {
        func list(_ keyword: String) -> [String] {
            given[keyword].map { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) } ?? []
        }
        let lists = ["host": list("host"), "hostaddr": list("hostaddr"), "port": list("port")]
        let count = max(1, lists["host"]?.count ?? 0, lists["hostaddr"]?.count ?? 0)
        return (0..<count).map { index in
            var one = given
            for (keyword, values) in lists where values.count > 1 && index < values.count {
                one[keyword] = values[index]
            }
            return one.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        }
    }

    private func parsed() throws(PostgresError) -> [(String, String)] {
        var complaint: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(url, &complaint) else {
            // The complaint quotes the text, password and all.
            PQfreemem(complaint)
            throw PostgresError(.connectFailed, message: "The database's URL cannot be parsed")
        }
        defer { PQconninfoFree(options) }
        var found: [(String, String)] = []
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { found.append((String(cString: keyword), String(cString: value))) }
            option += 1
        }
        return found
    }

    /// Sent with the first packet: they hold before the first statement, over what the role or database sets.
    private var sessionOptions: String {
        let settings = [
            "statement_timeout=\((statementTimeout * 9 / 10).milliseconds)",
            "lock_timeout=\((lockTimeout ?? statementTimeout / 2).milliseconds)",
            "idle_in_transaction_session_timeout=\(idleInTransactionTimeout.milliseconds)",
            // A statement whose client has gone does not run on.
            "client_connection_check_interval=1000",
            "TimeZone=UTC",
            "DateStyle=ISO",
            "bytea_output=hex",
            "standard_conforming_strings=on",
        ]
        return settings.map { "-c \($0)" }.joined(separator: " ")
    }
}

extension Duration {
    /// Rounded up, so that a wait of this many milliseconds is never shorter; at most what fits an `Int32`.
    var milliseconds: Int32 {
        let (seconds, attoseconds) = components
        guard seconds < 2_000_000 else { return 2_000_000_000 }
        return Int32(clamping: seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}
