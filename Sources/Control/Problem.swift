internal import Actions
internal import HTTPTypes
internal import Hummingbird
internal import MeshCore
internal import NIOCore

/// An error as `application/problem+json` (RFC 9457), with the node's own code, hint and exit status as further members.
struct Problem {
    let error: MeshError

    init(_ error: MeshError) { self.error = error }
    init(_ code: ErrorCode, _ message: String, hint: String = "") { error = MeshError(code, message, hint: hint) }

    var status: HTTPResponse.Status {
        switch error.code {
        case .unknownAction, .runUnknown: .notFound
        case .paramsInvalid, .idempotencyKeyReused: .unprocessableContent
        case .idempotencyKeyMissing, .jsonInvalid: .badRequest
        case .tokenMissing: .unauthorized
        case .hostRefused: .misdirectedRequest
        case .requestInFlight: .conflict
        case let code where code.name == "confirmation_required": HTTPResponse.Status(code: 428, reasonPhrase: "Precondition Required")
        default:
            switch error.code.exit {
            case .done: .ok
            case .usage, .badData: .unprocessableContent
            case .notPermitted: .forbidden
            case .tryAgain: .conflict
            case .unavailable: .serviceUnavailable
            case .cannotCreate: HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage")
            case .badConfiguration: .internalServerError
            }
        }
    }

    var body: [UInt8] {
        let pointers: [JSONValue] = error.pointer.map { [["pointer": .string($0), "message": .string(error.message)]] } ?? []
        let document: JSONValue = [
            "type": .string("urn:oursynth:error:\(error.code.name)"), "title": .string(error.code.name), "status": JSONValue(status.code),
            "code": .string(error.code.name), "detail": .string(error.message), "errors": .array(pointers), "hint": .string(error.hint),
            "exit": .integer(Int64(error.code.exit.rawValue)), "details": .array(error.details.map(JSONValue.string)),
        ]
        return document.canonicalBytes
    }

    var response: Response { jsonResponse(status, body, type: "application/problem+json") }
}

func jsonResponse(_ status: HTTPResponse.Status, _ body: [UInt8], type: String = "application/json") -> Response {
    Response(status: status, headers: [.contentType: type, .cacheControl: "no-store"], body: .init(byteBuffer: ByteBuffer(bytes: body)))
}
