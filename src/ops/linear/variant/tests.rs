use super::Variant;

/// Products by rows, depth and columns, at the bounds of the table and where networks have theirs.
#[test]
fn hardware_computes_each_product_by_its_shape() {
    let expected = [
        // The book's network: forward, then the gradients of its weights.
        ([100, 784, 50], Variant::Deep),
        ([100, 50, 10], Variant::Tiles),
        ([784, 100, 50], Variant::Deep),
        ([50, 100, 10], Variant::Deep),
        // 784 → 1024 → 1024 → 10 with a batch of 1024: both directions of the last layer, and the others.
        ([1024, 1024, 10], Variant::Deep),
        ([1024, 10, 1024], Variant::Medium),
        ([1024, 1024, 1024], Variant::Medium),
        ([784, 1024, 1024], Variant::Medium),
        // Squares.
        ([256, 256, 256], Variant::Deep),
        ([512, 512, 512], Variant::Medium),
        ([2048, 2048, 2048], Variant::Large),
        ([8192, 8192, 8192], Variant::Large),
        // One below a bound and at it.
        ([1983, 64, 2048], Variant::Medium),
        ([1984, 64, 2048], Variant::Large),
        ([447, 64, 512], Variant::Tiles),
        ([448, 64, 512], Variant::Medium),
        ([256, 63, 256], Variant::Tiles),
        ([256, 64, 256], Variant::Deep),
        ([256, 64, 271], Variant::Deep),
        ([256, 64, 272], Variant::Tiles),
        // Narrow products: tiles that would be less than half used do not count.
        ([60_000, 784, 10], Variant::Deep),
        ([60_000, 784, 50], Variant::Medium),
        ([60_000, 50, 10], Variant::Tiles),
        ([1, 4096, 4096], Variant::Deep),
    ];
    for ([rows, depth, columns], variant) in expected {
        let found = Variant::of_hardware([rows, columns], depth);
        assert_eq!(found, variant, "{rows}×{depth}×{columns}");
    }
}
