fn main() {
    let (_tx, rx) = aqueduct::channel::bounded::<u8>(0);
    aqueduct::select! {
        _ = <-rx => 1
        default => 2
    };
}
