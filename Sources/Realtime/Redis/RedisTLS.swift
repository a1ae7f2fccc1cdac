import NIOCore
import NIOSSL

/// TLS to a Redis server: its certificate must come from a trusted root and be for the host that was asked for.
struct RedisTLS: Sendable {
    private let context: NIOSSLContext

    /// Reads the roots from the disk, so it is made once.
    /// - Parameter rootsFile: certificates in PEM form that are trusted instead of the system's.
    init(rootsFile: String?) throws(RedisServer.Invalid) {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.certificateVerification = .fullVerification
        // A server that does not answer does not answer the goodbye either.
        configuration.shutdownTimeout = .milliseconds(100)
        do {
            if let rootsFile {
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(rootsFile))
            }
            context = try NIOSSLContext(configuration: configuration)
        } catch {
            throw RedisServer.Invalid(
                rootsFile == nil
                    ? "The system's trusted certificates cannot be read"
                    : "REPLYX_REDIS_CA_FILE must name a readable file of certificates in PEM form")
        }
    }

    /// Puts TLS into a new connection's pipeline. To be called on its loop.
    /// - Parameter host: a name, or an address, which then has to stand in the certificate.
    func protect(_ channel: any Channel, to host: String) throws {
        let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
        // Without a name it is the peer's address that is verified.
        let handler = try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host)
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    /// What to say of a connection that failed for TLS' sake; nil for any other error.
    static func refusal(_ error: any Error) -> String? {
        if let error = error as? NIOSSLExtraError {
            let isOfOther = error == .failedToValidateHostname || error == .serverHostnameImpossibleToMatch
            return isOfOther ? "TLS: the server's certificate is not for this host" : "TLS: the handshake failed"
        }
        switch error as? NIOSSLError {
        case .handshakeFailed(let cause):
            // BoringSSL's own name for it; the rest of its text is about its sources.
            return "\(cause)".contains("CERTIFICATE_VERIFY_FAILED")
                ? "TLS: the server's certificate is not trusted" : "TLS: the handshake failed"
        case .unableToValidateCertificate, .noCertificateToValidate:
            return "TLS: the server's certificate is not trusted"
        default:
            return nil
        }
    }
}
