extension Array where Element == UInt8 {
    mutating func append(littleEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    /// Precondition: the bytes are there.
    func littleEndianInteger<I: FixedWidthInteger>(at offset: Int, as type: I.Type) -> I {
        precondition(offset >= 0 && offset + MemoryLayout<I>.size <= count)
        return withUnsafeBytes { I(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: I.self)) }
    }
}
