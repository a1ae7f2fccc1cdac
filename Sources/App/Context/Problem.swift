import Domain
import HTTPTypes
import Hummingbird
import Persistence
import Realtime

/// An answer that says no, as RFC 9457 has it, with a `code` that clients may rely on.
struct Problem: Error {
    struct Field: Encodable {
        let field: String
        let code: String
        let detail: String
    }

    let status: HTTPResponse.Status
    let code: String
    /// For people. Never anything that the caller did not send or could not know.
    let detail: String
    var fields: [Field] = []
    var retryAfterSeconds: Int?
    /// Of the limit that was reached.
    var standing: Standing?

    init(_ status: HTTPResponse.Status, _ code: String, _ detail: String) {
        self.status = status
        self.code = code
        self.detail = detail
    }

    static let unauthorized = Problem(.unauthorized, "unauthorized", "A valid credential is needed.")
    static let notFound = Problem(.notFound, "not_found", "There is nothing here for you.")
    static let roleTooLow = Problem(.forbidden, "role_too_low", "Your role does not allow that.")
    static let malformedJSON = Problem(.badRequest, "malformed_json", "The body is not valid JSON.")
    static let guestAccessOff = Problem(
        .forbidden, "guest_access_off", "This assistant lets nobody in without a site token.")

    static var unavailable: Problem {
        var problem = Problem(.serviceUnavailable, "unavailable", "Try again in a moment.")
        problem.retryAfterSeconds = 1
        return problem
    }

    static func invalid(_ field: String, _ detail: String, code: String = "invalid_field") -> Problem {
        var problem = Problem(.unprocessableContent, code, detail)
        problem.fields = [Field(field: field, code: code, detail: detail)]
        return problem
    }
}

extension Problem {
    /// What any error that reaches the outermost layer is answered with; `nil` for one that is a defect of ours.
    init?(_ error: any Error) {
        switch error {
        case let problem as Problem: self = problem
        case let refusal as Refusal: self = Problem(refusal)
        case let error as PostgresError where error.isUnavailable: self = .unavailable
        case is MessageWriter.Failure, is StreamPoll.Draining, Passwords.Failure.busy: self = .unavailable
        case let refused as OperatorStore.Refused: self = Problem(refused)
        case AccountStore.Failure.emailTaken:
            self = Problem(.conflict, "email_taken", "An operator with this address exists already.")
        case let error as any HTTPResponseError:
            switch error.status {
            case .notFound: self = .notFound
            case .contentTooLarge:
                self = Problem(.contentTooLarge, "body_too_large", "The body is larger than allowed.")
            case .methodNotAllowed: self = Problem(.methodNotAllowed, "method_not_allowed", "Not with this method.")
            default: self = Problem(error.status, "malformed_request", "The request cannot be understood.")
            }
        default: return nil
        }
    }

    private init(_ refused: OperatorStore.Refused) {
        switch refused {
        case .unknown: self = .notFound
        case .notYours: self = .roleTooLow
        case .lastOwner: self = Problem(.conflict, "last_owner", "An account keeps an owner.")
        case .emailTaken: self = Problem(.conflict, "email_taken", "An operator with this address exists already.")
        case .linkOver: self = Problem(.gone, "link_over", "The link was used already, or is too old.")
        }
    }

    private init(_ refusal: Refusal) {
        switch refusal {
        case .textMissing: self = .invalid("text", "A text is needed.", code: "text_missing")
        case .textBlank: self = .invalid("text", "The text is empty.", code: "text_blank")
        case .textTooLong(let limit):
            self = .invalid("text", "The text has more than \(limit) characters.", code: "text_too_long")
        case .textHasNUL: self = .invalid("text", "The text holds U+0000.", code: "text_nul")
        case .unknownDialog: self = .notFound
        case .dialogClosed: self = Problem(.conflict, "dialog_closed", "The dialog is closed. Open the next one.")
        case .messageKeyReused:
            self = Problem(
                .conflict, "client_message_id_reused", "This client_message_id was used for another text.")
        case .epochPassed: self = Problem(.conflict, "epoch_passed", "The dialog was taken over meanwhile.")
        }
    }

    /// RFC 9457, section 3.
    private struct Body: Encodable {
        let type = "about:blank"
        let title: String
        let status: Int
        let detail: String
        let code: String
        let requestID: String
        let errors: [Field]?

        enum CodingKeys: String, CodingKey {
            case type, title, status, detail, code
            case requestID = "request_id"
            case errors
        }
    }

    func response(requestID: String) -> Response {
        let body = Body(
            title: status.reasonPhrase, status: status.code, detail: detail, code: code, requestID: requestID,
            errors: fields.isEmpty ? nil : fields)
        var response = Response.json(body, status: status)
        response.headers[.contentType] = "application/problem+json"
        if let retryAfterSeconds { response.headers[.retryAfter] = String(retryAfterSeconds) }
        if let standing {
            response.headers[.rateLimitLimit] = String(standing.limit)
            response.headers[.rateLimitRemaining] = String(standing.remaining)
            response.headers[.rateLimitReset] = String(standing.resetAfter.wholeSeconds)
        }
        if status == .unauthorized { response.headers[.wwwAuthenticate] = "Bearer" }
        return response
    }
}

extension HTTPField.Name {
    fileprivate static let rateLimitLimit = HTTPField.Name("RateLimit-Limit")!
    fileprivate static let rateLimitRemaining = HTTPField.Name("RateLimit-Remaining")!
    fileprivate static let rateLimitReset = HTTPField.Name("RateLimit-Reset")!
}

extension Response {
    /// JSON that writes itself.
    static func json(written text: String, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: JSONText.bytes(of: value))))
    }
}
