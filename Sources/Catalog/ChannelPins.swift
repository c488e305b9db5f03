public import MeshCore

/// The place of a channel that this node acted on: it never goes back below it without a person's word.
public struct ChannelPin: Sendable, Hashable {
    public let name: CapsuleName
    public let channel: String
    public let capsule: Digest
    public let epoch: Int
    public let ver: Int
    public let fact: Digest

    public init(_ channel: Catalog.Channel) {
        (name, self.channel, capsule) = (channel.name, channel.channel, channel.capsule)
        (epoch, ver, fact) = (channel.epoch, channel.ver, channel.fact)
    }

    init(name: CapsuleName, channel: String, capsule: Digest, epoch: Int, ver: Int, fact: Digest) {
        (self.name, self.channel, self.capsule, self.epoch, self.ver, self.fact) = (name, channel, capsule, epoch, ver, fact)
    }
}

/// What a node makes of a channel: a pure function of what the mesh says of it, of the pin, and of what became of the pin's fact.
public enum ChannelDecision: Sendable, Hashable {
    public enum Hold: String, Sendable {
        /// What the mesh says is no reason to move: see `Catalog.Channel.Trouble`.
        case contested, withdrawn, unreleased
        /// Nobody has set it, or what was acted on is not known here any more: an older catalog took the place of this one.
        case unheard
        /// Less than what was acted on, which still counts.
        case behind
        /// It was silent for longer than its publisher promised, by this node's clock: somebody may be keeping newer news from it. What runs
        /// goes on.
        case stale
    }

    case move(to: Catalog.Channel)
    case keep(Hold?)

    /// What became of the fact that a pin rests on.
    public enum PinState: Sendable {
        /// It counts.
        case counts
        /// It is here and counts no longer: its author was revoked and it was not kept. The floor lapses with it.
        case lapsed
        case unknown
    }

    /// - Parameter isStale: whether the channel was silent for too long, by this node's clock.
    public init(_ channel: Catalog.Channel?, pin: ChannelPin?, state: PinState, isStale: Bool = false) {
        guard let channel else {
            self = .keep(.unheard)
            return
        }
        switch channel.trouble {
        case .contested: self = .keep(.contested)
        case .withdrawn: self = .keep(.withdrawn)
        case .unreleased: self = .keep(.unreleased)
        case nil where isStale: self = .keep(.stale)
        case nil:
            guard let pin else {
                self = .move(to: channel)
                return
            }
            let place = (channel.epoch, channel.ver), floor = (pin.epoch, pin.ver)
            if place == floor, channel.capsule == pin.capsule { self = .keep(nil) }
            else if place > floor || state == .lapsed { self = .move(to: channel) }
            else { self = .keep(state == .unknown ? .unheard : .behind) }
        }
    }
}

extension Catalog {
    /// What this node makes of a channel now.
    public func decide(_ name: CapsuleName, channel: String) throws(MeshError) -> (decision: ChannelDecision, pin: ChannelPin?) {
        let authorities = authorities, pin = try table.pin(name: name.description, channel: channel)
        var state = ChannelDecision.PinState.unknown
        if let pin, let fact = try fact(pin.fact) { state = authorities.revocations.counts(fact) && authorities.mayPublish(name, fact.author) ? .counts : .lapsed }
        let said = try view(of: name).channels.first { $0.channel == channel }
        return (ChannelDecision(said, pin: pin, state: state, isStale: said?.isStale(at: clock.now) ?? false), pin)
    }

    /// The capsule that a channel means on this node. Where the mesh gives no reason to move, what was acted on before.
    ///
    /// - Parameter acting: it is pinned from now on: something is done with it, not only looked at.
    /// - Throws: as `resolve(_:channel:)` where nothing was acted on before; `release_not_found` where nobody has set the channel.
    public func follow(_ name: CapsuleName, channel: String, acting: Bool = true) throws(MeshError) -> (capsule: Digest, held: ChannelDecision.Hold?)? {
        let (decision, pin) = try decide(name, channel: channel)
        switch decision {
        case .move(let channel):
            if acting { try table.save(ChannelPin(channel)) }
            return (channel.capsule, nil)
        case .keep(let hold):
            guard let pin else { return try resolve(name, channel: channel).map { ($0.capsule, nil) } }
            if let withdrawal = try view(of: name).withdrawals.first(where: { $0.capsule == pin.capsule }) { throw Self.withdrawn(withdrawal) }
            return (pin.capsule, hold)
        }
    }
}
