fn main() {
    let (_tx, rx) = aqueduct::channel::bounded::<u8>(0);
    aqueduct::select! {
        _ = <-rx => {}
        default => {}
        default => {}
    }
}
