fn main() {
    aqueduct::select! {
        v = std::future::ready(1)
    }
}
