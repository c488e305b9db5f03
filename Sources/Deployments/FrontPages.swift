internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// What the front itself says when no app can answer: plain words, as a page.
enum FrontPages {
    static func page(_ status: HTTPResponse.Status, _ title: String, _ text: String, headers: HTTPFields = [:]) -> Response {
        let html = """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <title>\(escaped(title))</title>
            <style>body{font:1.05rem/1.5 system-ui,sans-serif;max-width:38rem;margin:15vh auto;padding:0 1rem;color-scheme:light dark}</style>
            </head><body><h1>\(escaped(title))</h1><p>\(escaped(text))</p></body></html>

            """
        var headers = headers
        headers[.contentType] = "text/html; charset=utf-8"
        headers[.cacheControl] = "no-store"
        headers[.xContentTypeOptions] = "nosniff"
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: html)))
    }

    static func unknownHost(_ host: String?) -> Response {
        let asked = host.map { "“\($0.prefix(200))”" } ?? "a request without a name"
        return page(HTTPResponse.Status(code: 421, reasonPhrase: "Misdirected Request"), "Nothing answers under this name",
                    "This is the front of a capsule node, and \(asked) is not one of its apps. Apps answer at APP.ENV.localhost, for example http://guestbook.dev.localhost:8080/. An address such as 127.0.0.1 names no app. “capsule ps” lists what runs here.")
    }

    static func stopped(_ key: DeploymentKey) -> Response {
        page(.serviceUnavailable, "\(key) is stopped", "Someone stopped this app. “capsule deploy \(key.app) --env \(key.environment.rawValue)” starts it again.")
    }

    static func starting(_ key: DeploymentKey) -> Response {
        page(.serviceUnavailable, "\(key) is starting", "The app is being started. Try again in a moment.", headers: [.retryAfter: "1"])
    }

    static func broken(_ key: DeploymentKey, _ why: String) -> Response {
        page(.serviceUnavailable, "\(key) cannot run", "\(why). “capsule ps” and “capsule logs \(key.app) --env \(key.environment.rawValue)” tell more.")
    }

    static func down(_ key: DeploymentKey) -> Response {
        page(.serviceUnavailable, "\(key) is down", "The app ended and will be started again in a moment. “capsule logs \(key.app) --env \(key.environment.rawValue)” shows what it wrote.",
             headers: [.retryAfter: "1"])
    }

    static func noAnswer(_ key: DeploymentKey) -> Response {
        page(.badGateway, "\(key) did not answer", "The app runs, but it closed the connection or sent something that is not an answer. “capsule logs \(key.app) --env \(key.environment.rawValue)” shows what it wrote.")
    }

    private static func escaped(_ text: String) -> String {
        text.map { character in
            switch character {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            case "\"": "&quot;"
            default: String(character)
            }
        }.joined()
    }
}
