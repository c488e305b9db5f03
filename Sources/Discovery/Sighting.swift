public import MeshCore
public import Signing

/// A hint that a peer may be reached somewhere. Nothing in it is proven; identity comes only from TLS.
public struct Sighting: Hashable, Sendable {
    public enum Source: String, Sendable, CaseIterable {
        /// mDNS, through the host's avahi-daemon.
        case avahi
        /// A file in `peers/`.
        case written
        /// Where it answered before.
        case lastKnown
        /// An address that a person gave.
        case typed
    }

    /// nil where only an address is known.
    public let nodeID: KeyID?
    /// What it calls itself: no control characters, at most `Limits.displayNameBytesMax` bytes.
    public let name: String?
    /// The first 16 hex digits of its mesh id.
    public let mesh: String?
    /// At most `Limits.addressesPerPeerMax`, all that this source knows: a later sighting takes the place of an earlier one.
    public let addresses: [PeerAddress]
    /// This host's interface on which it was seen last.
    public let interface: String?
    public let source: Source
    /// The first 16 hex digits of its catalog root: another one than ours means news.
    public let catalogRoot: String?

    public init(nodeID: KeyID?, name: String? = nil, mesh: String? = nil, addresses: [PeerAddress], interface: String? = nil,
                source: Source, catalogRoot: String? = nil) {
        self.nodeID = nodeID
        self.name = name
        self.mesh = mesh
        self.addresses = addresses
        self.interface = interface
        self.source = source
        self.catalogRoot = catalogRoot
    }
}

public enum SightingEvent: Sendable {
    /// What this source knows of the peer now.
    case seen(Sighting)
    /// This source sees the peer no more.
    case gone(KeyID, Sighting.Source)
    /// This source does not work: `dbus_unavailable`, `avahi_unavailable`, `announcement_refused`. It keeps trying.
    case trouble(MeshError)
    /// It works again.
    case recovered
}

/// What a node tells its neighbours about itself.
public struct Announcement: Sendable, Hashable {
    public let nodeID: KeyID
    public let mesh: Digest
    public let catalogRoot: Digest
    public let name: String
    /// TCP port of the peer protocol.
    public let port: Int

    public init(nodeID: KeyID, mesh: Digest, catalogRoot: Digest, name: String, port: Int) {
        self.nodeID = nodeID
        self.mesh = mesh
        self.catalogRoot = catalogRoot
        self.name = name
        self.port = port
    }
}
