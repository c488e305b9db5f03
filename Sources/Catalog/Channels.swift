public import MeshCore
public import Signing

extension Catalog {
    /// What a channel of a name points to.
    public struct Channel: Sendable, Hashable {
        /// Why it is not followed, if it is not.
        public enum Trouble: String, Sendable {
            /// Two contents at the highest place, or its publisher signed two facts at one place.
            case contested
            /// What it points to was withdrawn.
            case withdrawn
            /// What it points to is no release of the name that counts.
            case unreleased
        }

        public let name: CapsuleName
        public let channel: String
        public let capsule: Digest
        /// Raised by roots alone: it sets whatever was said before aside.
        public let epoch: Int
        /// The highest of its epoch counts.
        public let ver: Int
        public let publisher: PublicKey
        public let fact: Digest
        public let at: Milliseconds
        /// Stale after this, by the reader's own clock.
        public let until: Milliseconds?
        public let trouble: Trouble?

        /// Whether nothing was said for longer than its publisher promised. Only who reads it by a clock of his own asks; no view does.
        public func isStale(at now: Milliseconds) -> Bool { until.map { $0 < now } ?? false }

        /// The facts that claim this place, where there are several.
        public let candidates: [Digest]
    }

    /// `stable`, `beta-2`: a letter, then at most 63 more letters, digits, dots, dashes, all lower case.
    public static func isChannelName(_ text: String) -> Bool {
        guard let first = text.utf8.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first), text.utf8.count <= 64 else { return false }
        return text.utf8.allSatisfy { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
    }
}

/// One `channel` fact by someone who may publish the name.
private struct ChannelClaim {
    struct Key: Hashable {
        let name: CapsuleName
        let channel: String
    }

    let key: Key
    let capsule: Digest
    let epoch: Int
    let ver: Int
    let fact: Fact

    init?(_ fact: Fact, _ authorities: Authorities) {
        guard fact.kind == "channel", let capsule = fact.subject, let name = fact.name,
              let channel = fact.body["channel"]?.string, Catalog.isChannelName(channel), let ver = fact.body["ver"]?.integer, ver >= 1,
              let epoch = fact.body["epoch"]?.integer, epoch >= 0, authorities.mayPublish(name, fact.author) else { return nil }
        key = Key(name: name, channel: channel)
        (self.capsule, self.epoch, self.ver, self.fact) = (capsule, Int(epoch), Int(ver), fact)
    }
}

extension Catalog.Channel {
    /// By name and channel.
    static func all(_ counted: [Fact], _ authorities: Authorities, releases: [Catalog.Release], withdrawals: [Catalog.Withdrawal]) -> [Catalog.Channel] {
        let claims = Dictionary(grouping: counted.compactMap { ChannelClaim($0, authorities) }, by: \.key)
        let released = Dictionary(grouping: releases, by: \.capsule), withdrawn = Dictionary(grouping: withdrawals, by: \.capsule)
        return claims.values.compactMap { claims -> Catalog.Channel? in
            // An epoch that no root has opened is nobody's: else whoever steals a publisher's key could run ahead of everybody for good.
            let opened = Set(claims.filter { authorities.isRoot($0.fact.author) }.map(\.epoch)).union([0])
            let valid = claims.filter { opened.contains($0.epoch) }
            guard let top = valid.map({ ($0.epoch, $0.ver) }).max(by: <) else { return nil }
            let highest = valid.filter { ($0.epoch, $0.ver) == top }.sorted { $0.fact.id < $1.fact.id }
            guard let chosen = highest.first else { return nil }
            let name = chosen.key.name
            let isContested = Set(highest.map(\.capsule)).count > 1 || highest.contains { authorities.isEquivocator($0.fact.author) }
            let trouble: Trouble? =
                isContested ? .contested
                : withdrawn[chosen.capsule]?.contains { $0.name == name } ?? false ? .withdrawn
                : released[chosen.capsule]?.contains { $0.name == name && !$0.contested } ?? false ? nil : .unreleased
            return Catalog.Channel(
                name: name, channel: chosen.key.channel, capsule: chosen.capsule, epoch: chosen.epoch, ver: chosen.ver, publisher: chosen.fact.author,
                fact: chosen.fact.id, at: chosen.fact.at, until: highest.compactMap(\.fact.until).max(), trouble: trouble, candidates: highest.map(\.fact.id))
        }.sorted { ($0.name, $0.channel) < ($1.name, $1.channel) }
    }
}
