fn main() {
    let (_tx, rx) = aqueduct::channel::bounded::<u8>(0);
    aqueduct::select! {
        default => {}
        _ = <-rx => {}
    }
}
