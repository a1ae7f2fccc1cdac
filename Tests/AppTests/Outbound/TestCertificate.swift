import NIOSSL

/// A certificate of models.test that signed itself, good until 2099. Nobody but these tests trusts it.
enum TestCertificate {
    static func server() throws -> TLSConfiguration {
        .makeServerConfiguration(
            certificateChain: try certificates().map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem)))
    }

    static func clientThatTrustsIt() throws -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(try certificates())
        return tls
    }

    private static func certificates() throws -> [NIOSSLCertificate] {
        try NIOSSLCertificate.fromPEMBytes(Array(certificate.utf8))
    }

    private static let certificate = """
        -----BEGIN CERTIFICATE-----
        MIIBnDCCAUGgAwIBAgIUbOORqYHmXf0+9xxuy16z3rpA7D8wCgYIKoZIzj0EAwIw
        FjEUMBIGA1UEAwwLbW9kZWxzLnRlc3QwIBcNMDAwMTAxMDAwMDAwWhgPMjA5OTEy
        MDcwMDAwMDBaMBYxFDASBgNVBAMMC21vZGVscy50ZXN0MFkwEwYHKoZIzj0CAQYI
        KoZIzj0DAQcDQgAEB7DNHcypsfAT1LnegT5EjChLEJF/Tck+Ujktclk+OfRMDUf5
        HXnNAHOclWNXZlXvVzaD2Xnt7mjPeXKJSHVqKaNrMGkwHQYDVR0OBBYEFCr25vGV
        IF8YVpxBDgSFP2rJ72xjMB8GA1UdIwQYMBaAFCr25vGVIF8YVpxBDgSFP2rJ72xj
        MA8GA1UdEwEB/wQFMAMBAf8wFgYDVR0RBA8wDYILbW9kZWxzLnRlc3QwCgYIKoZI
        zj0EAwIDSQAwRgIhAKbdXyNPQjsU3VXHcDFAYMqPM2cNK7Nje4+r48qc/7zkAiEA
        v4GTbt/Ag/ozBVCByMLlbn/qBG6Pdb5fiK7KYiPBJG0=
        -----END CERTIFICATE-----
        """

    private static let key = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgUckMfr7GyvERnaB7
        6KiT0dr75boMVQ4+yhapKhhCZJ6hRANCAAQHsM0dzKmx8BPUud6BPkSMKEsQkX9N
        yT5SOS1yWT459EwNR/kdec0Ac5yVY1dmVe9XNoPZee3uaM95colIdWop
        -----END PRIVATE KEY-----
        """
}
